"""Help in sections: a command with many options says what each group of them is about."""

from collections.abc import Mapping, Sequence
from typing import Any

import click


class SectionedCommand(click.Command):
    """A command whose help lists options under titles; those in no section come last.

    sections: title → the options under it, by their long name, in the order they are shown.
    """

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one definition list a section."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.opts[-1]: option.get_help_record(ctx) for option in options}
        titled = {name for names in self.sections.values() for name in names}
        others = [name for name in records if name not in titled]
        for title, names in {**self.sections, "Other": others}.items():
            shown = [record for name in names if (record := records[name]) is not None]
            with formatter.section(title):
                formatter.write_dl(shown)
