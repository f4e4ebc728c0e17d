// Follows the event stream. Without this script the page shows when it was made.
// EventSource connects anew by itself when a generation ends.
const output = document.querySelector("output");
new EventSource(output.dataset.ticks).onmessage = ({ data }) => {
  output.textContent = JSON.parse(data).time;
};
