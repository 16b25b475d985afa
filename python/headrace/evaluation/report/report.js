"use strict";
(() => {
  const data = JSON.parse(document.getElementById("path").textContent);
  const slider = document.getElementById("budget");
  const percent = (share, digits) => `${(100 * share).toFixed(digits)}%`;
  const quality = (value) => `${(data.scale * value).toFixed(data.digits)}${data.sign}`;
  const number = (value) => Number(value.toPrecision(4)).toString();
  const set = (id, text) => { document.getElementById(id).textContent = text; };

  const show = () => {
    const i = Number(slider.value);
    set("at-budget", number(data.budgets[i]));
    set("at-cost", number(data.cost[i]));
    set("at-quality", quality(data.quality[i]));
    set("at-interval", `95%: ${quality(data.low[i])} to ${quality(data.high[i])}`);
    set("at-runs", data.n_runs[i].toFixed(2));
    slider.setAttribute("aria-valuetext", `budget ${number(data.budgets[i])}, quality ${quality(data.quality[i])}`);
    document.getElementById("marker").setAttribute("transform", `translate(${data.x[i]} ${data.y[i]})`);
    data.models.forEach((_, j) => {
      set(`answer-${j}`, percent(data.answers[i][j], 0));
      set(`run-${j}`, percent(data.runs[i][j], 0));
      document.getElementById(`answer-bar-${j}`).style.width = percent(data.answers[i][j], 2);
      document.getElementById(`run-bar-${j}`).style.width = percent(data.runs[i][j], 2);
      data.models.forEach((_, a) => {
        const cell = document.getElementById(`flow-${j}-${a}`);
        const share = data.flows[i][j][a];
        cell.lastElementChild.textContent = share < 0.0005 ? "–" : percent(share, 1);
        cell.firstElementChild.style.opacity = (0.45 * Math.sqrt(share)).toFixed(3);
      });
    });
  };
  slider.addEventListener("input", show);
  show();

  // On paper nothing can be opened.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const closed of document.querySelectorAll("details:not([open])")) {
      closed.open = true;
      opened.push(closed);
    }
  });
  addEventListener("afterprint", () => { for (const details of opened.splice(0)) details.open = false; });
})();
