"""Python lines that ask a model which writes, in the way that it was trained to be asked."""

from __future__ import annotations

import json

from lightning_modules.text.template import columns_in, filled

_BEGIN = "begin = tokenizer.bos_token or tokenizer.cls_token or tokenizer.eos_token\n"


def continue_lines() -> str:
    """Return the lines that continue a text."""
    return f"""\
{_BEGIN}inputs = tokenizer(begin + "Your text", add_special_tokens=False, return_tensors="pt")
written = model.generate(inputs.input_ids, max_new_tokens=40, do_sample=False)
print(tokenizer.decode(written[0], skip_special_tokens=True))
"""


def question_lines(template: str, max_new_tokens: int) -> str:
    """Return the lines that ask a question, with the cells of a row in the template's places."""
    columns = columns_in(template)
    cells = {name: "Your question" if name == columns[0] else f"Its {name}" for name in columns}
    return f"""\
{_BEGIN}prompt = begin + {filled(template, cells)!r}
inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
{_answer_lines("inputs.input_ids", "inputs.input_ids", max_new_tokens)}"""


def conversation_lines(max_new_tokens: int, system: str | None = None) -> str:
    """Return the lines that send one message by the tokenizer's chat template."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": "user", "content": "Your question"}]
    return f"""\
messages = {json.dumps(messages, ensure_ascii=False)}
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
{_answer_lines("**inputs", 'inputs["input_ids"]', max_new_tokens)}"""


def _answer_lines(inputs: str, ids: str, max_new_tokens: int) -> str:
    return f"""\
written = model.generate({inputs}, max_new_tokens={max_new_tokens}, do_sample=False)
print(tokenizer.decode(written[0, {ids}.shape[1] :], skip_special_tokens=True))
"""
