package shell

import "io"

// AwaitFrame is awaitFrame, for the fuzzer.
func AwaitFrame(r io.Reader, n string) (string, io.Reader, error) {
	word, rest, _, err := awaitFrame(r, nonce(n))
	return word, rest, err
}

// MaxNoise is what may come before a frame, in bytes.
const MaxNoise = maxNoise
