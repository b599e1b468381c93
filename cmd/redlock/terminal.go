package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Everything that redlock prints goes through one of these; only the commands that it runs have the files themselves.
var (
	stdout = newTerminal(os.Stdout)
	stderr = newTerminal(os.Stderr)
)

// terminal is a writer that escapes what could act on a terminal: control characters, escape sequences, characters that
// change the direction of text, and bytes that are no UTF-8. Keys, labels, and what nodes say are written by others. Line
// feeds pass; text that must stay on one line goes through shown first.
type terminal struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
}

func newTerminal(f *os.File) *terminal { return &terminal{w: f, colour: colourful(f)} }

// Write implements io.Writer. A character must not be split between two calls.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.w, escaped(string(p), inText)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeJSON writes a JSON document. What is escaped in it stays JSON and means the same.
func (t *terminal) writeJSON(doc string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := io.WriteString(t.w, escaped(doc, inJSON))
	return err
}

// control is a sequence of our own for a terminal to act on, without its ESC, as it has to be written to a terminal.
// Nobody else can know the mark that lets it pass.
func control(sequence string) string { return controlMark + sequence + "\x00" }

var controlMark = "\x00" + rand.Text()

// escaped is text with the escapes of one kind, but for our own controls.
func escaped(text string, escape func(*strings.Builder, rune, string)) string {
	if printable(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		if rest, ours := strings.CutPrefix(text, controlMark); ours {
			sequence, after, _ := strings.Cut(rest, "\x00")
			b.WriteString("\x1b" + sequence)
			text = after
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		if char := text[:size]; r == '\n' || strconv.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(char)
		} else {
			escape(&b, r, char)
		}
		text = text[size:]
	}
	return b.String()
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) })
}

func inText(b *strings.Builder, _ rune, char string) {
	quoted := strconv.Quote(char)
	b.WriteString(quoted[1 : len(quoted)-1])
}

func inJSON(b *strings.Builder, r rune, _ string) {
	if r >= 1<<16 {
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// shown is text that others wrote, on one line.
func shown(s string) string {
	return strings.ReplaceAll(escaped(s, inText), "\n", `\n`)
}

// short is shown, cut to n characters.
func short(s string, n int) string { return cut(shown(s), n) }

// cut is a line, cut to n characters, the last of which shows that it was.
func cut(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:max(n-1, 0)]) + "…"
	}
	return s
}
