// A table that is wider than its frame scrolls; so that the keyboard can scroll it, too, it takes the focus.
(() => {
  const mark = () => {
    for (const frame of document.querySelectorAll(".pst-scrollable-table-container, .judgement")) {
      if (frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
      else frame.removeAttribute("tabindex");
    }
  };
  window.addEventListener("load", mark);
  window.addEventListener("resize", mark);
})();
