//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCompletion_IsUnderstoodByZsh(t *testing.T) {
	t.Parallel()
	script := launch(t, nil, "completion", "zsh")
	script.exit(0)
	needTerminals(t, "zsh", "tmux")
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script.stdout.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newTmux(t, 110, "zsh -f")
	m.run("send-keys", "autoload -Uz compinit; compinit -u -D; source "+file+"; PS1='> '; clear; echo re''ady", "Enter")
	m.shows("ready")
	for typed, want := range map[string]string{
		"redlock comp": "> redlock completion", "redlock ls --out": "> redlock ls --output", "redlock completion f": "> redlock completion fish",
		"redlock ls -o j": "> redlock ls -o json",
	} {
		m.run("send-keys", "C-u")
		m.run("send-keys", typed, "Tab")
		m.shows(want)
	}
}
