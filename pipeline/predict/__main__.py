"""The command line: `python -m pipeline.predict IMAGES... --model models:/NAME@champion --out predictions.csv`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.runtime.command_line import run_plainly
from pipeline.runtime.workers import count_cores

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Images = Annotated[list[str], typer.Argument(help="image files, folders, or patterns in quotes: 'ward 3/**/*.dcm'")]
Named = Annotated[
    str | None,
    typer.Option(
        "--model", help="models:/NAME@ALIAS, models:/NAME/VERSION or student.onnx; by default params.yaml's champion"
    ),
]
Out = Annotated[Path, typer.Option(help="the table to write")]
Workers = Annotated[int, typer.Option(help="threads that decode; 0 = one per processor core", min=0)]
UNREADABLE, INTERRUPTED = 1, 130


@app.command()
def predict(images: Images, model: Named = None, out: Out = Path("predictions.csv"), workers: Workers = 0) -> None:
    """Predict images into a table: image, label or findings, a probability for each class, error, model.

    The same command continues after a kill. Exit status: 0, or 1 where the table has images that could not be read,
    with the reason in the column error, or 2 for a mistake that is printed, such as a model that does not exist.
    """
    from pipeline.predict.inputs import find_images
    from pipeline.predict.model import open_model
    from pipeline.predict.run import predict as predict_all

    paths = find_images(images)
    with open_model(model or _champion()) as opened:
        print(f"predict: {len(paths):,} images by {opened.title} on {opened.predictor.provider}", flush=True)
        try:
            counts = predict_all(paths, opened, out, workers=workers or count_cores())
        except KeyboardInterrupt:
            typer.echo("\npredict: stopped; what is finished is kept, the same command continues from there", err=True)
            raise typer.Exit(INTERRUPTED) from None
    print(f"predict: {counts.rows:,} rows in {out}, {counts.unreadable:,} of them of images that could not be read")
    for example in counts.examples:
        print(f"  {example}")
    if counts.unreadable:
        raise typer.Exit(UNREADABLE)


def _champion() -> str:
    from pipeline import tracking
    from pipeline.params.file import load

    return f"models:/{tracking.model_name(load())}@champion"


if __name__ == "__main__":
    run_plainly(app)
