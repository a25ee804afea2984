"""What answers look like: on a terminal (rich), on a page (HTML, SVG), as data. No commands."""
