"""``densityguide play``: the dial, live in a browser.

`board` and `given` compute, `look` draws, and neither knows the page; `page` alone knows gradio.
"""
