// What the page holds packed: gzip in base 64.

async function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The numbers of an array, flat and in C order: bytes are equal steps from low to high.
async function unpackedArray({ shape, low, high, gzip }) {
  const numbers = Float64Array.from(await unpacked(gzip), (byte) => low + ((high - low) * byte) / 255);
  return { shape, numbers };
}

async function loadPlotly() {
  const script = document.createElement("script");
  const packed = document.getElementById("library").textContent.trim();
  script.textContent = new TextDecoder().decode(await unpacked(packed));
  document.head.append(script);
}
