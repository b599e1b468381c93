package present

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
)

// NodeState is one word for the state of a node: "up", "refuses" or "unusable"
// if its server is there, "silent" if it does not answer, else "down".
func NodeState(r cluster.Report) string {
	switch {
	case r.Up:
		return "up"
	case Refuses(r.Err):
		return "refuses"
	case Unusable(r.Err):
		return "unusable"
	case errors.Is(r.Err, os.ErrDeadlineExceeded) || errors.Is(r.Err, context.DeadlineExceeded):
		return "silent"
	}
	return "down"
}

// Refuses reports whether err is a server's reply.
func Refuses(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// Denied reports whether a server replied that its user lacks a right.
func Denied(err error) bool { return redis.IsPermissionError(err) }

// Unusable reports whether err shows that a server answers, but cannot be used.
func Unusable(err error) bool { return Refuses(err) || cluster.Unusable(err) }

// Error returns the text of an error on one line, without the prefix of the
// library and without a stack trace.
func Error(err error) string {
	if err == nil {
		return "not known"
	}
	text, _, _ := strings.Cut(err.Error(), "\nstack traceback")
	return Line(strings.TrimPrefix(text, "redlock: "))
}
