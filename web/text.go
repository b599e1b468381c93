package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lock"
)

// short is text that others wrote, on one line of at most 100 characters.
func short(text string) string { return present.Cut(present.Line(text), 100) }

// span is a duration as a person says it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %02d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// ago is how long before now t was; a clock ahead of ours counts as now.
func ago(t, now time.Time) string { return span(max(now.Sub(t), 0)) }

// place is where a holder runs.
func place(h lock.Holder) string {
	if h.Host == "" {
		return ""
	}
	if h.PID == 0 {
		return h.Host
	}
	return h.Host + ":" + strconv.Itoa(h.PID)
}

// quoted is a word as a POSIX shell takes it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("_-.:/@%+=,", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) && word[0] != '-' {
		return word
	}
	if present.Line(word) != word {
		escaped := strconv.QuoteToASCII(word)
		return "$'" + strings.ReplaceAll(escaped[1:len(escaped)-1], "'", `\'`) + "'"
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
