//go:build unix

package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// AwaitAnswer waits until the server at addr answers.
func AwaitAnswer(addr string) error {
	soon := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMultiplier(1), backoff.WithMaxElapsedTime(nodeTimeout))
	if err := backoff.Retry(func() error { _, err := ServerName(addr); return err }, soon); err != nil {
		return fmt.Errorf("no answer from %s within %v: %w: %w", addr, nodeTimeout, os.ErrDeadlineExceeded, err)
	}
	return nil
}

// ServerName returns the name and version of the server at addr, such as "Redis
// 7.0.15" or "Valkey 8.1.1".
func ServerName(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "INFO server\r\n"); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	head, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	if text, refused := strings.CutPrefix(head, "-"); refused {
		return "", errors.New(strings.TrimSpace(text))
	}
	length, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(head, "$")), 10, 20)
	if err != nil {
		return "", err
	}
	info := make([]byte, length)
	if _, err := io.ReadFull(in, info); err != nil {
		return "", err
	}
	return nameIn(string(info))
}

// nameIn finds the server's name in the output of INFO. Servers other than
// Redis report the version of Redis that they are compatible with, and then
// their own name and version.
func nameIn(info string) (string, error) {
	name := ""
	for line := range strings.Lines(info) {
		key, version, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "redis_version":
			name = "Redis " + version
		case "valkey_version":
			return "Valkey " + version, nil
		case "redict_version":
			return "Redict " + version, nil
		}
	}
	if name == "" {
		return "", errors.New("INFO names no version")
	}
	return name, nil
}
