"""Write report/schemas/recipe.json anew from the configs, after one of them changed: python -m tools.recipe_schema."""

import json
from pathlib import Path

from squeeze_onnx.report import schemas
from squeeze_onnx.workflows import recipe


def main() -> None:
    path = Path(schemas.__file__).with_name("recipe.json")
    path.write_text(json.dumps(recipe.recipe_schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
