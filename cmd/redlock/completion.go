package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" name:"SHELL" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Prints a script that has the shell complete commands and flags of redlock:

  bash   redlock completion bash > /etc/bash_completion.d/redlock
         or, for this shell: source <(redlock completion bash)
  zsh    redlock completion zsh > "${fpath[1]}/_redlock"
  fish   redlock completion fish > ~/.config/fish/completions/redlock.fish

Exit codes: 0 success; 2 the shell is not one of these.`
}

func (r *completionCmd) Run(app *kong.Kong) error {
	root := app.Model.Node
	switch r.Shell {
	case "bash":
		completeBash(stdout, root)
	case "zsh":
		completeZsh(stdout, root)
	case "fish":
		completeFish(stdout, root)
	}
	return nil
}

// flagsOf returns the flags of a command, its own and those of the program.
func flagsOf(n *kong.Node) (all []*kong.Flag) {
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			if f.Name != "version" || n.Parent == nil {
				all = append(all, f)
			}
		}
	}
	return all
}

// choices returns the possible values, nil if a value can be anything.
func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	all := v.EnumSlice()
	slices.Sort(all)
	return all
}

// completionWords returns the words that can follow a command: its flags, its
// subcommands, and the possible values of its arguments.
func completionWords(n *kong.Node) string {
	var all []string
	for _, f := range flagsOf(n) {
		all = append(all, "--"+f.Name)
	}
	for _, p := range n.Positional {
		all = append(all, choices(p)...)
	}
	for _, c := range n.Children {
		all = append(all, c.Name)
	}
	return strings.Join(all, " ")
}

func completeBash(w io.Writer, root *kong.Node) {
	fmt.Fprint(w, `_redlock() {
  local cur=${COMP_WORDS[COMP_CWORD]} cmd= words= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --) declare -F _command_offset >/dev/null && _command_offset $((i + 1)); return ;;
      -*) ;;
      *) [ -n "$cmd" ] || cmd=${COMP_WORDS[i]} ;;
    esac
  done
  case $cmd:${COMP_WORDS[COMP_CWORD - 1]} in
`)
	for _, c := range root.Children {
		for _, f := range flagsOf(c) {
			if some := choices(f.Value); some != nil {
				pattern := c.Name + ":--" + f.Name
				if f.Short != 0 {
					pattern += "|" + c.Name + ":-" + string(f.Short)
				}
				fmt.Fprintf(w, "    %s) words='%s' ;;\n", pattern, strings.Join(some, " "))
			}
		}
	}
	for _, c := range root.Children {
		fmt.Fprintf(w, "    %s:*) words='%s' ;;\n", c.Name, completionWords(c))
	}
	fmt.Fprintf(w, "    :*) words='%s' ;;\n", completionWords(root))
	fmt.Fprint(w, `  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _redlock redlock
`)
}

// plainHelp returns the help of a flag or command as text for a single-quoted
// word of any shell.
func plainHelp(text string) string {
	text, _, _ = strings.Cut(text, ". ")
	return strings.NewReplacer("'", "’", "[", "(", "]", ")", ":", ";", `\`, "").Replace(strings.TrimSuffix(text, "."))
}

func completeZsh(w io.Writer, root *kong.Node) {
	fmt.Fprint(w, "#compdef redlock\n_redlock() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n")
	for _, c := range root.Children {
		fmt.Fprintf(w, "      '%s:%s'\n", c.Name, plainHelp(c.Help))
	}
	fmt.Fprint(w, "    )\n    _describe command commands\n    return\n  fi\n  local cmd=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $cmd in\n")
	for _, c := range root.Children {
		fmt.Fprintf(w, "    %s) _arguments", c.Name)
		for _, f := range flagsOf(c) {
			value := ""
			if !f.IsBool() {
				value = ":" + plainHelp(f.FormatPlaceHolder()) + ":(" + strings.Join(choices(f.Value), " ") + ")"
			}
			fmt.Fprintf(w, " \\\n      '--%s[%s]%s'", f.Name, plainHelp(f.Help), value)
			if f.Short != 0 {
				fmt.Fprintf(w, " '-%c[%s]%s'", f.Short, plainHelp(f.Help), value)
			}
		}
		for i, p := range c.Positional {
			what := ":(" + strings.Join(choices(p), " ") + ")"
			if p.Passthrough {
				fmt.Fprintf(w, " \\\n      '*::command:_normal'")
				continue
			}
			fmt.Fprintf(w, " \\\n      '%d:%s%s'", i+1, plainHelp(p.Name), what)
		}
		fmt.Fprintln(w, " ;;")
	}
	fmt.Fprint(w, "  esac\n}\n(( $+functions[compdef] )) && compdef _redlock redlock\n")
}

func completeFish(w io.Writer, root *kong.Node) {
	fmt.Fprintln(w, "complete -c redlock -f")
	for _, c := range root.Children {
		fmt.Fprintf(w, "complete -c redlock -n __fish_use_subcommand -a %s -d '%s'\n", c.Name, plainHelp(c.Help))
	}
	for _, c := range root.Children {
		on := fmt.Sprintf("complete -c redlock -n '__fish_seen_subcommand_from %s'", c.Name)
		for _, f := range flagsOf(c) {
			fmt.Fprintf(w, "%s -l %s", on, f.Name)
			if f.Short != 0 {
				fmt.Fprintf(w, " -s %c", f.Short)
			}
			if !f.IsBool() {
				fmt.Fprint(w, " -x")
			}
			if some := choices(f.Value); some != nil {
				fmt.Fprintf(w, " -a '%s'", strings.Join(some, " "))
			}
			fmt.Fprintf(w, " -d '%s'\n", plainHelp(f.Help))
		}
		for _, p := range c.Positional {
			if some := choices(p); some != nil {
				fmt.Fprintf(w, "%s -a '%s'\n", on, strings.Join(some, " "))
			}
		}
	}
}
