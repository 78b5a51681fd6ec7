"""Write squeeze_onnx/schemas/recipe.json anew from the configs: python -m tools.recipe_schema, after one of them changed."""

import json
from pathlib import Path

from squeeze_onnx import recipe, schemas


def main() -> None:
    path = Path(schemas.__file__).with_name("recipe.json")
    path.write_text(json.dumps(recipe.recipe_schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
