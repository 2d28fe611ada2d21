"""Text between markers: what a script writes into a page that people write."""


def filled(page: str, name: str, text: str) -> str:
    """The page with `text` between `<!-- name -->` and `<!-- /name -->`.

    Raises ValueError where the page has not both of them.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, opened, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"the page has no {begin.strip()} with its end")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}"
