// Runs a network of @vladmandic/face-api on images: node run_face_api.cjs '{"package": ..., "net": ..., "shape": ..., "folder": ...}'
// Reads FOLDER/input, float32 from 0 to 255; writes FOLDER/output0; prints its shape as JSON.
const fs = require("fs");
const path = require("path");

async function main({ package: home, net: name, shape, folder }) {
  const faceapi = require(path.join(home, "dist", "face-api.node-wasm.js"));
  const { tf } = faceapi;
  await tf.setBackend("cpu");
  const net = faceapi.nets[name === "recognition" ? "faceRecognitionNet" : "faceLandmark68Net"];
  await net.loadFromDisk(path.join(home, "model"));
  const bytes = fs.readFileSync(path.join(folder, "input"));
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const rows = [];
  for (const image of tf.unstack(tf.tensor(values, shape))) {
    const input = await faceapi.toNetInput(image);
    const found = name === "recognition" ? net.forwardInput(input) : net.runNet(input);
    rows.push(...(await found.data()));
  }
  fs.writeFileSync(path.join(folder, "output0"), Buffer.from(new Float32Array(rows).buffer));
  console.log(JSON.stringify([[shape[0], rows.length / shape[0]]]));
}

main(JSON.parse(process.argv[2]));
