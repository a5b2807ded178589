// Package gattest is the conformance suite for backends: what [gat.Login] and
// its optional abilities promise, as tests. A backend is right when it passes,
// and its own test file shrinks to a description of where to log in:
//
//	func TestConformance(t *testing.T) {
//		gattest.Test(t, gattest.Harness{Open: open, Dir: t.TempDir(), Find: gattest.Processes})
//	}
//
// The one rule: the suite sees a site through the contract only. What it runs
// there is a dozen tiny tools, written for a Unix shell (see [Shell]) and so
// small that an in-memory site can imitate them. The single look behind the
// contract is Harness.Find, which searches the site's processes for leftovers
// and for secrets. Abilities that a login lacks, and checks a site cannot
// support, are skipped aloud, with the reason.
package gattest
