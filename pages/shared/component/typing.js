// A text area tells what is typed once the keys rest, as it does by itself for Ctrl+Enter.

const REST_MS = 300;

export default function ({ data, parentElement }) {
  parentElement.box = `.st-key-${data.key} textarea`;
  if (parentElement.typed) return;
  let waiting;
  parentElement.typed = ({ target }) => {
    if (!target.matches?.(parentElement.box)) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const keys = { key: "Enter", ctrlKey: true, bubbles: true };
      target.dispatchEvent(new KeyboardEvent("keydown", keys));
    }, REST_MS);
  };
  document.addEventListener("input", parentElement.typed);
  return () => {
    document.removeEventListener("input", parentElement.typed);
    delete parentElement.typed;
  };
}
