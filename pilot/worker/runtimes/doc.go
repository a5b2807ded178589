// Package runtimes says what an application is and how it is run.
//
// It has two halves. [Inspect] runs where the user is: it recognises an
// application by its content, whatever its name, and refuses early, in words
// that help, what could not run anywhere. A [Finder] runs where the worker will
// be: it turns the [App] into the [Launch] of a worker, for which it may have
// to find a Java runtime on a machine nobody has prepared.
//
// The one rule to know: files are not trusted. An archive is read within fixed
// bounds, whatever it claims about itself, and nothing of it is executed here.
//
// It starts no worker; that is
// [github.com/zorilla-grid/zorilla/pilot/worker].
package runtimes
