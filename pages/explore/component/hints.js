// Hints for a first visit, and the link of what is seen.

const HINTS = "bitdial-hints";

/** Copy the page's address. */
async function share({ link }) {
  const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  link.textContent = done ? "Copied" : "Copy it from the address bar";
  setTimeout(() => {
    link.textContent = "Copy link";
  }, 2000);
}

/** Three hints for a first visit; what was read stays read in this browser. */
function coach(of, read) {
  const { hint, data: { hints } } = of;
  const [next, dismiss] = hint.querySelectorAll("button");
  let at = hints.length;
  try {
    if (read) localStorage.setItem(HINTS, read);
    at = +localStorage.getItem(HINTS);
  } catch { /* a browser that keeps nothing would show them for ever */ }
  if ((hint.hidden = of.proxy || at >= hints.length)) return;
  put(hint, {
    ".count": `${at + 1} of ${hints.length}`,
    ".words": hints[at],
    ".next": at + 1 < hints.length ? "Next" : "Got it",
  });
  next.onclick = () => {
    coach(of, at + 1);
    next.focus();
  };
  dismiss.onclick = () => coach(of, hints.length);
}
