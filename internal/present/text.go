// Package present formats the library's data for people and tools, so that
// command redlock and package web describe a node, an error or a key in the
// same words.
package present

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Line returns untrusted text on one line. It escapes characters that could
// affect a terminal, are invisible or change the direction of text, and bytes
// that are not UTF-8.
func Line(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if hidden(r) {
			Escape(&b, text[:size])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

// hidden also reports true for bytes that are not UTF-8.
func hidden(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }

// Escape writes a character as an escape of Go.
func Escape(b *strings.Builder, char string) {
	quoted := strconv.Quote(char)
	b.WriteString(quoted[1 : len(quoted)-1])
}

// EscapeJSON writes a character as an escape of JSON, which does not change the
// meaning of a document.
func EscapeJSON(b *strings.Builder, r rune) {
	if r >= 1<<16 {
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// Cut returns a line cut to at most n characters. If it was cut, the last one
// shows that.
func Cut(line string, n int) string {
	if runes := []rune(line); len(runes) > n {
		return string(runes[:max(n-1, 0)]) + "…"
	}
	return line
}

// Plural formats a number of things.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Thousands(n) + " " + many
}

// Thousands formats a count with commas, as in 12,345.
func Thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Ms returns a duration for JSON: milliseconds, with a resolution of a
// microsecond.
func Ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
