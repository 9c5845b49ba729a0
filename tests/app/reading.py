"""A page as a reader sees it."""


def said(page):
    """All words on the page, as a reader sees them in this order."""
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "text",
        "caption",
        "info",
        "warning",
        "error",
        "code",
    )
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))
