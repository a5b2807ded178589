package transport

// Proven returns how many proofs a verifier remembers.
func Proven(v *Verifier) int { return len(v.now) + len(v.old) }
