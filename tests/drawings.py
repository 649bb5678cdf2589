"""What a picture of a feature holds."""

import matplotlib.image

TONE = 440.0


def drawn_rows(ax):
    """The values of a picture of a feature (bins, frames), and the edges of its rows."""
    mesh = ax.collections[0]
    return mesh.get_array(), mesh.get_coordinates()[:, 0, 1]


def loudest_row(ax):
    """The edges of the row of a picture that is the loudest in its middle frame."""
    values, edges = drawn_rows(ax)
    loudest = values[:, values.shape[1] // 2].argmax()
    return edges[loudest], edges[loudest + 1]


def page(path):
    """The size of a picture file in which something is drawn."""
    picture = matplotlib.image.imread(path)
    assert picture[..., :3].std() > 0.05
    return picture.shape
