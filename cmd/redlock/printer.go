package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// style is the appearance of a line on a terminal.
type style string

const (
	plain  style = ""
	quiet  style = "2"    // dim
	fault  style = "33"   // yellow
	fixed  style = "32"   // green
	fenced style = "35"   // magenta
	broken style = "1;31" // bold red
	strong style = "1;32" // bold green
)

// printer prints a line for each event.
type printer struct {
	begun time.Time

	mu     sync.Mutex
	w      io.Writer
	colour bool
	width  int // of the terminal; 0: no terminal, and lines are not wrapped
}

func newPrinter() *printer {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		width = 0
	}
	return &printer{begun: time.Now(), w: stdout, colour: stdout.colour, width: width}
}

func (n *printer) paint(s style, text string) string {
	if !n.colour || s == plain {
		return text
	}
	return control("["+string(s)+"m") + text + control("[0m")
}

// say prints one event: its subject, and what happened.
func (n *printer) say(s style, about, format string, args ...any) {
	at := time.Since(n.begun)
	n.mu.Lock()
	defer n.mu.Unlock()
	const indent = 19 // of the text, after the time and the subject
	for i, line := range wrap(fmt.Sprintf(format, args...), n.width-indent) {
		if i == 0 {
			fmt.Fprintf(n.w, "%6.2fs  %s\n", at.Seconds(), n.paint(s, fmt.Sprintf("%-9s %s", about, line)))
			continue
		}
		fmt.Fprintf(n.w, "%s%s\n", strings.Repeat(" ", indent), n.paint(s, line))
	}
}

// hanging returns text that begins at column indent, wrapped with a hanging
// indent.
func (n *printer) hanging(text string, indent int) string {
	return strings.Join(wrap(text, n.width-indent), "\n"+strings.Repeat(" ", indent))
}

// leastWrap is the least width at which wrap wraps text.
const leastWrap = 20

// wrap breaks text between words into lines no longer than width.
func wrap(text string, width int) (lines []string) {
	if width < leastWrap {
		return []string{text}
	}
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
