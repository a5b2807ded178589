package main

import (
	"embed"
	"strings"
)

// completionScripts teach shells to ask "zorilla __complete WORD..." for what
// may stand in the place of the last word.
//
//go:embed completion
var completionScripts embed.FS

// shells returns the shells for which there is a script.
func shells() (list []string) {
	entries, err := completionScripts.ReadDir("completion")
	if err != nil {
		return nil // it was built in
	}
	for _, e := range entries {
		list = append(list, strings.TrimPrefix(e.Name(), "zorilla."))
	}
	return list
}
