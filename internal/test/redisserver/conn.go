package redisserver

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// connTimeout is the deadline of a conn.
const connTimeout = 20 * time.Second

// conn is a connection that sends only the commands of its caller, so that they
// can be subtracted from a server's counts.
type conn struct {
	net   net.Conn
	r     *bufio.Reader
	asked map[string]int64
}

// dial connects to n and authenticates. The commands that the server executes
// for the connection are added to n.asked.
func dial(n *node) (*conn, error) {
	nc, err := net.DialTimeout("tcp", n.addr(), connTimeout)
	if err != nil {
		return nil, err
	}
	if err := nc.SetDeadline(time.Now().Add(connTimeout)); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	if n.opts.TLS != nil {
		cert, err := tls.LoadX509KeyPair(n.opts.TLS.CertFile, n.opts.TLS.KeyFile)
		if err != nil {
			return nil, errors.Join(err, nc.Close())
		}
		// The certificate is the test's and may be a bad one on purpose. It
		// also serves as a client certificate, for servers that demand one.
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}})
	}
	c := &conn{net: nc, r: bufio.NewReader(nc), asked: n.asked}
	if n.opts.Password != "" {
		if _, err := c.do("AUTH", n.opts.Password); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *conn) close() { _ = c.net.Close() } // nothing is left to be sent

// do sends one command and returns its reply, which must be a string.
func (c *conn) do(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.net, b.String()); err != nil {
		return "", err
	}
	reply, err := c.reply()
	if err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	// A command that got an error, here LOADING or NOAUTH, was not executed.
	c.asked[strings.ToLower(args[0])]++
	return reply, nil
}

func (c *conn) reply() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case strings.HasPrefix(line, "+"):
		return line[1:], nil
	case strings.HasPrefix(line, "-"):
		return "", errors.New(line[1:])
	case strings.HasPrefix(line, "$"):
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", fmt.Errorf("unexpected reply %q", line)
		}
		text := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(c.r, text); err != nil {
			return "", err
		}
		return string(text[:size]), nil
	}
	return "", fmt.Errorf("unexpected reply %q", line)
}

// infoFields returns the fields of a reply to INFO.
func infoFields(info string) map[string]string {
	fields := map[string]string{}
	for line := range strings.SplitSeq(info, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = value
		}
	}
	return fields
}
