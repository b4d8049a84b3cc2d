// Runs on the browser's audio thread: passes on what the microphone gives, 128 samples at a time, in larger pieces.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(2048);
    this.length = 0;
    this.port.onmessage = () => this.port.postMessage({ rest: this.samples.slice(0, this.length) });
  }

  process([[channel]]) {
    if (channel) {
      this.samples.set(channel, this.length);
      this.length += channel.length;
      if (this.length === this.samples.length) {
        this.port.postMessage(this.samples.slice());
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
