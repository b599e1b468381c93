package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompletion_IsUnderstoodByItsShell(t *testing.T) {
	t.Parallel()
	for shell, check := range map[string]string{
		"bash": `source "$1"; try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _redlock; echo "${COMPREPLY[*]}"; }
			try redlock in; try redlock ls --out; try redlock ls --output ""; try redlock completion f; try redlock ls -o j
			_command_offset() { COMPREPLY=("command at $1"); }; try redlock run -v key -- ec`,
		"fish": `source $argv[1]; for line in "redlock in" "redlock ls --out" "redlock ls --output " "redlock completion f" "redlock ls -o j"
			complete -C $line | string replace -r '\t.*' '' | string join ' '; end; complete -C "redlock in" | string replace \t ': '`,
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			script := launch(t, nil, "completion", shell)
			script.exit(0)
			if shell == "fish" {
				needTerminals(t, shell)
			} else if _, err := exec.LookPath(shell); err != nil {
				t.Skip(shell + " is not installed")
			}
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(script.stdout.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"-c", check, "shell", file}
			if shell == "fish" {
				args = []string{"--no-config", "-c", check, file}
			}
			out, err := exec.Command(shell, args...).CombinedOutput()
			want := "inspect|--output|json table|fish|json" + map[string]string{
				"bash": "|command at 5", // the command of run completes its own arguments
				"fish": "|inspect: Show one lock, node by node",
			}[shell]
			if got := strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), "|"); err != nil || got != want {
				t.Errorf("%v; it completes\n%s\nwant\n%s\nthe script:\n%s", err, got, want, script.stdout)
			}
		})
	}
}
