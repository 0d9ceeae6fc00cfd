"""Files: settings, locks, whole-or-nothing writing, storage, interrupts."""
