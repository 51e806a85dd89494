
"use strict";
const form = document.querySelector(".filters");
if (form) {
  const cases = [...document.querySelectorAll(".case")];
  const dimension = document.getElementById("dimension");
  const language = document.getElementById("language");
  const update = () => {
    let shown = 0;
    for (const one of cases) {
      const fits = (!dimension.value || one.dataset.dimensions.split("|").includes(dimension.value))
        && (!language.value || one.dataset.language === language.value);
      one.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").textContent = `${shown} of ${cases.length} questions`;
  };
  form.hidden = false;
  form.addEventListener("change", update);
  update();
}
