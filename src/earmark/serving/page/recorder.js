// The microphone, as the browser gives it: no cleaning, which would take away what is to be heard.

const KINDS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/**
 * Record until the returned function is called.
 *
 * onLevel is told the loudest sample, 0 to 1, and the seconds so far; onEnd gets the recording as a Blob.
 */
export async function startRecording(onLevel, onEnd) {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const sound = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const context = new AudioContext();
  const meter = context.createAnalyser();
  meter.fftSize = 1024;
  context.createMediaStreamSource(sound).connect(meter);
  const recorder = new MediaRecorder(sound, { mimeType: KINDS.find((kind) => MediaRecorder.isTypeSupported(kind)) });
  const parts = [], samples = new Float32Array(meter.fftSize), began = performance.now();
  const watch = setInterval(() => {
    meter.getFloatTimeDomainData(samples);
    onLevel(samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0), (performance.now() - began) / 1000);
  }, 80);
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    clearInterval(watch);
    sound.getTracks().forEach((track) => track.stop());
    context.close();
    onEnd(new Blob(parts, { type: recorder.mimeType.split(";")[0] }));
  };
  recorder.start();
  return () => recorder.state !== "inactive" && recorder.stop();
}
