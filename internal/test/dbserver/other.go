//go:build !linux

package dbserver

import "errors"

// ErrMissing is matched by the error if a server is not installed.
var ErrMissing = errors.New("servers of databases are started on Linux only")

// Server is a server that accepts connections until Close.
type Server struct{ Port int }

// PostgreSQL returns ErrMissing.
func PostgreSQL() (*Server, error) { return nil, ErrMissing }

// MariaDB returns ErrMissing.
func MariaDB() (*Server, error) { return nil, ErrMissing }

// Close does nothing.
func (s *Server) Close() error { return nil }
