"""`--mode=report`: reads the work directories, makes the page and writes it."""

from rich.console import Console

from routing_jax.errors import UserError
from routing_jax.files import write_text
from routing_jax.reporting.page.collect import collect
from routing_jax.reporting.page.request import Request

MOST_BYTES = 6_000_000
"""Of a page."""


def write_report(request: Request) -> int:
    """Writes the page and says where it is and what is not on it; returns the exit status.

    Raises:
        UserError: there is nothing to show, or the page cannot be written or would be too large.
    """
    with Console().status("making the report"):
        found = collect(request.workdirs)
        # Only now: it imports SciPy and Jinja2, which takes longer than the answers above.
        from routing_jax.reporting.page.make import make_page

        text, problems = make_page(found)
    size = len(text.encode("utf-8"))
    if size > MOST_BYTES:
        raise UserError(
            f"the report would have {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}: name "
            "fewer runs."
        )
    try:
        write_text(request.output, text)
    except OSError as error:
        raise UserError(
            f"{request.output} cannot be written: {error.strerror or error}. Name another file "
            "with --output."
        ) from error
    for name, problem in problems:
        print(f"{name}: {problem}")
    print(f"{request.output}  {size / 1e6:.1f} MB, opens in a browser")
    return 0
