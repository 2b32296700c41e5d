// Starts the parts of the page that this page has.
const page = JSON.parse(document.getElementById("page-data").textContent);
const whole = document.getElementById("viewer");
if (whole) new Viewer(whole, [page.whole], { blocks: page.blocks.length ? page.blocks : null });
const zoom = document.getElementById("zoom");
if (zoom && page.zooms.length) new Viewer(zoom, page.zooms, { row: true });
const maps = document.getElementById("maps-viewer");
if (maps && page.maps.length) new MapViewer(maps, page.maps, page.whole);
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  });
}
