// Package errs makes the errors of this module: their messages begin with the
// module's prefix, exactly once, and errors of contexts say why the context
// ended.
package errs

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const prefix = "redlock: "

// message is an error with its own text.
type message struct {
	text string
	err  error
}

func (m *message) Error() string { return m.text }
func (m *message) Unwrap() error { return m.err }

// Errorf is fmt.Errorf, but removes the prefix from the texts of the errors
// among args, except from one with which format begins.
func Errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	bare, prefixed := make([]any, len(args)), false
	for i, arg := range args {
		bare[i] = arg
		leads := i == 0 && strings.HasPrefix(format, "%w")
		if e, ok := arg.(error); ok && !leads && strings.HasPrefix(e.Error(), prefix) {
			bare[i], prefixed = Text(e), true
		}
	}
	if !prefixed {
		return err
	}
	return &message{fmt.Sprintf(strings.ReplaceAll(format, "%w", "%v"), bare...), err}
}

// Text returns the text of err without the prefix.
func Text(err error) string { return strings.TrimPrefix(err.Error(), prefix) }

// Ended returns why ctx ended: ctx.Err(), together with the cause if the caller set one. It returns nil while ctx has
// not ended.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(cause, err) {
		return err
	}
	return Errorf("%w: %w", err, cause)
}
