// Runs a TensorFlow.js model on one input: node run_tfjs.cjs '{"model": ..., "kind": ..., "shape": ..., "folder": ..., "outputs": ...}'
// Reads FOLDER/input, float32; writes FOLDER/output0, ...; prints the shapes as JSON. NODE_PATH says where @tensorflow/tfjs lies.
const fs = require("fs");
const path = require("path");
const tf = require("@tensorflow/tfjs");

// The weights in the way in which both kinds of models take them.
function load(file) {
  const held = JSON.parse(fs.readFileSync(file));
  const shards = held.weightsManifest.flatMap((group) => group.paths);
  const data = Buffer.concat(shards.map((shard) => fs.readFileSync(path.join(path.dirname(file), shard))));
  return {
    modelTopology: held.modelTopology,
    weightSpecs: held.weightsManifest.flatMap((group) => group.weights),
    weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
    signature: held.signature,
    userDefinedMetadata: held.userDefinedMetadata,
    format: held.format,
  };
}

async function main({ model, kind, shape, folder, outputs }) {
  await tf.setBackend("cpu");
  const bytes = fs.readFileSync(path.join(folder, "input"));
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const input = tf.tensor(values, shape);
  const handler = { load: async () => load(model) };
  const net = kind === "graph" ? await tf.loadGraphModel(handler) : await tf.loadLayersModel(handler);
  let found;
  if (kind === "graph") found = outputs.length ? net.execute(input, outputs) : await net.executeAsync(input);
  else if (outputs.length)
    found = tf.model({ inputs: net.inputs, outputs: outputs.map((name) => net.getLayer(name).output) }).predict(input);
  else found = net.predict(input);
  found = Array.isArray(found) ? found : [found];
  for (let i = 0; i < found.length; i++)
    fs.writeFileSync(path.join(folder, `output${i}`), Buffer.from(new Float32Array(await found[i].data()).buffer));
  console.log(JSON.stringify(found.map((one) => one.shape)));
}

main(JSON.parse(process.argv[2]));
