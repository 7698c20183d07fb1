// Limiter, compile: the one error of compilation. Its message names the field and the fix, and is the text of the NACK.

/** Thrown when a config cannot be enforced as written. `message` is told to the operator word for word. */
export class ConfigRejected extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigRejected';
  }
}
