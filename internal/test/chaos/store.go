//go:build unix

package chaos

import (
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"
)

// store is what the locks protect: a version for each key, kept by the test's process. It refuses every access with a token older
// than one it has seen, and checks nothing else; the judge does.
type store struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{} // nil once closed
	records map[string]*record
	log     []access
}

type record struct{ newest, version int64 }

// storeRequest reads a key's version under a token, or writes the version after Base.
type storeRequest struct {
	Client int
	Key    string
	Token  int64
	Write  bool
	Base   int64
}

type storeReply struct {
	Accepted bool
	Version  int64
}

func startStore() (*store, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &store{listener: l, conns: map[net.Conn]struct{}{}, records: map[string]*record{}}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *store) addr() string { return s.listener.Addr().String() }

func (s *store) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.conns == nil {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(conn) })
	}
}

// serve answers one connection until it ends, which is no fault: clients are killed.
func (s *store) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var req storeRequest
		if in.Decode(&req) != nil || out.Encode(s.take(req)) != nil {
			return
		}
	}
}

func (s *store) take(req storeRequest) storeReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[req.Key]
	if r == nil {
		r = &record{}
		s.records[req.Key] = r
	}
	ok := req.Token >= r.newest
	s.log = append(s.log, access{
		At: now(), Client: req.Client, Key: req.Key, Token: req.Token, Write: req.Write, Base: req.Base, Accepted: ok,
	})
	if ok {
		r.newest = req.Token
		if req.Write {
			r.version++
		}
	}
	return storeReply{Accepted: ok, Version: r.version}
}

// close ends the store and returns what it was asked.
func (s *store) close() []access {
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
	return s.log
}

// storeConn is a worker's connection to the store.
type storeConn struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

func dialStore(addr string) (*storeConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &storeConn{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}, nil
}

func (c *storeConn) ask(req storeRequest) (storeReply, error) {
	var reply storeReply
	// Longer than any stop of this process: the store itself never fails.
	err := errors.Join(c.conn.SetDeadline(time.Now().Add(30*time.Second)), c.out.Encode(req))
	if err != nil {
		return reply, err
	}
	return reply, c.in.Decode(&reply)
}
