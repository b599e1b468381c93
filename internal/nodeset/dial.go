package nodeset

import (
	"context"
	"net"
	"syscall"
	"time"
)

// dialer is how go-redis dials.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// quietly dials by dial, and returns a failure as a connection whose every use
// fails with it.
//
// go-redis prints a line for each failed dial, by default to standard error and
// past Config.Logger. That logger belongs to the whole process: replacing it
// would silence a program that uses go-redis itself. So a connection that fails
// is set up silently, callers get its error, and this package logs what an
// operator must know. The remaining lines of go-redis are rare, except those
// about Sentinels, which it dials itself; a program can stop them with
// redis.SetLogger.
//
// It also keeps go-redis's pool from refusing to dial for a second at a time, as
// it does after many failures: probes are paced by this package. Where Sentinels
// name no master, go-redis does not come here, and its pool may refuse.
//
// The connection is used for lifetime at most. It does not dial once ctx has ended. Some of go-redis's dialers, such as the one
// for TLS, dial all the same.
func quietly(dial dialer, lifetime time.Duration) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return failedConn{&dialError{err}}, nil
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return failedConn{&dialError{err}}, nil
		}
		return bounded(conn, lifetime), nil
	}
}

// dialError is why a connection could not be made.
type dialError struct{ cause error }

func (e *dialError) Error() string { return e.cause.Error() }

// Unwrap returns a list because go-redis takes off what a single error wraps.
func (e *dialError) Unwrap() []error { return []error{e.cause} }

// failedConn is a connection that could not be made.
type failedConn struct{ err error }

func (c failedConn) Read([]byte) (int, error)         { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)        { return 0, c.err }
func (c failedConn) Close() error                     { return nil }
func (c failedConn) LocalAddr() net.Addr              { return noAddr{} }
func (c failedConn) RemoteAddr() net.Addr             { return noAddr{} }
func (c failedConn) SetDeadline(time.Time) error      { return nil }
func (c failedConn) SetReadDeadline(time.Time) error  { return nil }
func (c failedConn) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn fails, by which go-redis's pool sees that a connection is not to be used again: it keeps one for later whose
// caller did not wait for it. (On Windows it looks at no connection.)
func (c failedConn) SyscallConn() (syscall.RawConn, error) { return nil, c.err }

// noAddr is the address of either end of a connection that could not be made.
type noAddr struct{}

func (noAddr) Network() string { return "tcp" }
func (noAddr) String() string  { return "not connected" }
