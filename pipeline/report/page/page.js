const { config, ...locales } = JSON.parse(document.getElementById("drawing").textContent);
const options = {
  ast: true,
  actions: false,
  renderer: "svg",
  tooltip: { theme: "report" },
  config,
  ...locales,
};
async function draw(chart) {
  const spec = JSON.parse(chart.querySelector("script").textContent);
  try {
    chart.classList.add("is-live");
    await vegaEmbed(chart.querySelector(".live"), spec, options);
  } catch (error) {
    chart.classList.remove("is-live");
    console.error(error);
  }
}
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }
  },
  { rootMargin: "600px" },
);
for (const chart of document.querySelectorAll(".chart")) near.observe(chart);
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const here = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (link && entry.isIntersecting) {
        for (const other of links.values()) other.removeAttribute("aria-current");
        link.setAttribute("aria-current", "true");
      }
    }
  },
  { rootMargin: "-20% 0px -70% 0px" },
);
for (const section of document.querySelectorAll("main section[id]")) here.observe(section);
