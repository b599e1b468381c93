package main

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/venta-hq/redlock/internal/present"
)

// All output of redlock goes through one of these writers. Only the commands
// that it runs write to the files directly.
var (
	stdout = newTerminal(os.Stdout)
	stderr = newTerminal(os.Stderr)
)

// terminal is a writer that escapes everything that could affect a terminal:
// control characters, escape sequences, characters that change the direction of
// text, and bytes that are not UTF-8. Keys, labels and nodes' answers are
// untrusted. Line feeds pass; text that must stay on one line goes through
// shown first.
type terminal struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
}

func newTerminal(f *os.File) *terminal { return &terminal{w: f, colour: colourful(f)} }

// colourful reports whether w is a terminal whose user has not disabled colour.
// See https://no-color.org.
func colourful(w *os.File) bool {
	info, err := w.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" &&
		(runtime.GOOS != "windows" || os.Getenv("WT_SESSION") != "")
}

// Write implements io.Writer. A character must not be split between two calls.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.w, escaped(string(p), inText)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeJSON writes a JSON document. Escaped characters stay JSON with the same
// meaning.
func (t *terminal) writeJSON(doc string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := io.WriteString(t.w, escaped(doc, inJSON))
	return err
}

// printJSON prints one document to standard output.
func printJSON(doc any) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	return stdout.writeJSON(b.String())
}

// control marks an escape sequence, given without its ESC, so that a terminal's
// Write lets it pass. The mark is random, so untrusted text cannot contain it.
func control(sequence string) string { return controlMark + sequence + "\x00" }

var controlMark = "\x00" + rand.Text()

// escaped returns text with everything escaped except our own controls.
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

func inText(b *strings.Builder, _ rune, char string) { present.Escape(b, char) }

func inJSON(b *strings.Builder, r rune, _ string) { present.EscapeJSON(b, r) }

// short is like shown, but cuts the text to n characters.
func short(s string, n int) string { return cut(shown(s), n) }
