// Package acl writes rules for the ACL of a Redis server.
package acl

import "strings"

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// EscapeGlob returns the pattern that matches exactly text, as rules and SCAN
// take it.
func EscapeGlob(text string) string { return globEscaper.Replace(text) }

// right is a cluster.Right, whose package this one cannot import.
type right = struct {
	Rule     string
	For      string
	Optional bool
}

// Join returns the rules of rights in one line, as ACL SETUSER takes them. If
// required is true, it omits the optional rights.
func Join[R ~right](rights []R, required bool) string {
	var rules []string
	for _, r := range rights {
		if r := right(r); !r.Optional || !required {
			rules = append(rules, r.Rule)
		}
	}
	return strings.Join(rules, " ")
}
