"""The rows that the papers print, and tables of them with ours beside."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

SUBSTITUTES = {
    "CSIM": "dlib_csim",
    "AED": "tracker_aed",
    "APD": "tracker_apd",
    "LPIPS": "mobilenet_distance",
    "FID": "mobilenet_frechet",
}
"""Substitutes for metrics whose networks no package ships.

CSIM: cosine of dlib's embeddings, not ArcFace's. AED, APD: distances of the tracker's blendshapes
and head angles, not of 3DMM coefficients. LPIPS, FID: on MobileNetV2's features. Their values
compare our methods with each other, and not with the papers' rows.
"""
_WIDTH = 150
"""Columns of text that table 3 of DPE needs: a narrower terminal may scroll, but no name is cut."""
_SAME = {"PSNR": "psnr", "SSIM": "ssim"}
"""Metrics that are computed as the papers do. SSIM is that of luminance."""


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of a paper, in one setting."""

    title: str
    setting: str
    """Setting of our figures that it is compared with."""
    metrics: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    more: tuple[str, ...] = ()
    """Further settings of our figures, each in a row of its own."""


_MOTION = ("CSIM", "AED", "APD")
TABLES: dict[str, tuple[PaperTable, ...]] = {
    "dpe": (
        PaperTable(
            title="DPE, table 1: expression editing, same identity",
            setting="exp same",
            metrics=_MOTION,
            rows={
                "PIRenderer": (0.9075, 0.1205, 0.01254),
                "StyleHEAT": (0.8320, 0.1511, 0.01551),
                "DPE": (0.9091, 0.1133, 0.01720),
            },
        ),
        PaperTable(
            title="DPE, table 1: expression editing, cross identity",
            setting="exp cross",
            metrics=_MOTION,
            rows={
                "PIRenderer": (0.9133, 0.2674, 0.01182),
                "StyleHEAT": (0.8489, 0.2701, 0.01695),
                "DPE": (0.9204, 0.2660, 0.02464),
            },
        ),
        PaperTable(
            title="DPE, table 2: pose editing, same identity",
            setting="pose same",
            metrics=_MOTION,
            rows={
                "PIRenderer": (0.9055, 0.0972, 0.01718),
                "StyleHEAT": (0.8358, 0.1285, 0.02975),
                "DPE": (0.9192, 0.0807, 0.02459),
            },
        ),
        PaperTable(
            title="DPE, table 2: pose editing, cross identity",
            setting="pose cross",
            metrics=_MOTION,
            rows={
                "PIRenderer": (0.8406, 0.1397, 0.02533),
                "StyleHEAT": (0.8058, 0.1577, 0.03025),
                "DPE": (0.8798, 0.1250, 0.03630),
            },
        ),
        # The paper's heading has APD before AED here. The sizes of the values show the order of its
        # other tables.
        PaperTable(
            title="DPE, table 3: expression and pose, same identity",
            setting="both same",
            metrics=("CSIM", "LPIPS", "PSNR", "SSIM", "AED", "APD"),
            rows={
                "FOMM": (0.8960, 0.1536, 31.1134, 0.6251, 0.1000, 0.01100),
                "PIRenderer": (0.8829, 0.1713, 30.7609, 0.5541, 0.1110, 0.01698),
                "LIA": (0.8906, 0.1458, 31.3371, 0.6397, 0.0998, 0.01160),
                "DaGAN": (0.8910, 0.1599, 30.3022, 0.5904, 0.1036, 0.01202),
                "DPE": (0.8965, 0.1587, 31.3631, 0.6422, 0.1000, 0.01087),
            },
        ),
        PaperTable(
            title="DPE, table 3: expression and pose, cross identity",
            setting="both cross",
            metrics=_MOTION,
            rows={
                "FOMM": (0.8101, 0.2570, 0.02592),
                "PIRenderer": (0.8215, 0.2458, 0.02677),
                "LIA": (0.8094, 0.2659, 0.02601),
                "DaGAN": (0.8032, 0.2584, 0.02639),
                "DPE": (0.8303, 0.2612, 0.02565),
            },
        ),
    ),
    "daegan": (
        PaperTable(
            title="DAE-GAN, table 1: VoxCeleb1, held-out frames (in brackets: frames of fine-tuning; ours: of the"
            " portrait)",
            setting="both held-out",
            more=("both held-out, 8 frames", "both held-out, 32 frames"),
            metrics=("SSIM", "FID"),
            rows={
                "Pix2PixHD (1)": (0.56, 42.7),
                "Pix2PixHD (8)": (0.64, 35.1),
                "Pix2PixHD (32)": (0.70, 24.0),
                "X2Face (1)": (0.68, 45.8),
                "X2Face (8)": (0.73, 51.5),
                "X2Face (32)": (0.75, 56.5),
                "Zakharov et al. (1)": (0.67, 43.0),
                "Zakharov et al. (8)": (0.71, 38.0),
                "Zakharov et al. (32)": (0.74, 29.5),
                "DAE-GAN, vanilla": (0.65, 60.8),
                "+ smoothness": (0.68, 56.9),
                "+ multi-frame": (0.72, 47.1),
                "+ multi-scale": (0.73, 46.8),
                "+ adversarial": (0.73, 26.3),
                "DAE-GAN": (0.73, 24.8),
            },
        ),
    ),
}


def show_paper(paper: str, figures: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print each table of a paper, its rows first, then ours by column of ``figures``.

    A metric and its substitute never share a column.
    """
    for table in TABLES[paper]:
        Console(width=_WIDTH).print(_printed(table, figures))


def _printed(table: PaperTable, figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    measured = {name for settings in figures.values() for name in settings.get(table.setting, {})}
    substitutes = [SUBSTITUTES[name] for name in table.metrics if SUBSTITUTES.get(name) in measured]
    printed = Table("method", *table.metrics, *substitutes, title=table.title)
    for method, values in table.rows.items():
        printed.add_row(f"{method} (paper)", *(f"{value:g}" for value in values), *["-"] * len(substitutes))
    for method, settings in figures.items():
        for setting in (table.setting, *(name for name in table.more if name in settings)):
            ours = settings.get(setting, {})
            # Our substitutes stand in columns of their own, so that nobody compares across methods.
            names = [_SAME.get(name, name) for name in table.metrics] + substitutes
            label = method if setting == table.setting else f"{method} ({setting.split(', ')[1]})"
            printed.add_row(label, *(f"{ours[name]:.4f}" if name in ours else "-" for name in names))
    return printed
