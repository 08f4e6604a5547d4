"""SVG elements as text, escaped: for pictures inside a report that no browser library draws."""

from html import escape


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """One element. Attribute values are escaped; content must be elements or `escape`d text.

    Underscores in attribute names become hyphens, `class_` becomes "class".
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def number(value: object) -> str:
    """A value as an attribute: floats with at most two decimals."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def words(text: str, x: float, y: float, **attributes: object) -> str:
    """Text at a place; the page's text colour unless `fill` says otherwise."""
    shown = {"fill": "currentColor", "font_size": 12, **attributes}
    return element("text", escape(text), x=float(x), y=float(y), **shown)


def picture(content: str, width: float, height: float, title: str) -> str:
    """A whole picture with a title for screen readers; scales down to its container."""
    return element(
        "svg",
        element("title", escape(title)) + content,
        viewBox=f"0 0 {number(float(width))} {number(float(height))}",
        width=float(width),
        height=float(height),
        role="img",
        style="max-width:100%;height:auto",
    )
