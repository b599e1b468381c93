package fence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
)

// File is a [ReadStore] in a file, for jobs that share a directory. The file is
// read and replaced under an exclusive lock (flock; LockFileEx on Windows) on a
// second file, Path.lock, so the file system must support such locks: local
// ones do, NFS does unless mounted with nolock or local_lock. The lock file
// stays; removing it while a check runs lets two checks run at once.
//
// A new file is written and synced as Path.new and then renamed to Path, so a
// process that is killed halfway leaves the old one. A token whose check
// returned nil outlasts a power failure, except on Windows, which cannot sync a
// rename. Each new token rewrites the file: use it for hundreds of keys, not for
// millions.
type File struct {
	// Path is the token file; it is created if it does not exist. All names of
	// the file that lead through symbolic links share one lock, even before the
	// file exists. Hard links do not: the first new token separates them.
	Path string

	// Timeout limits how long a check waits while other checks hold the lock on
	// the file, as the context of [Check] does not. Default 5s.
	Timeout time.Duration
}

// fileVersion is the first line of a token file. Each further line is the key,
// the newest token of a writer, as in a Token, and, if there was a reader, that
// of a reader: "key;17;18". A version that does not know readers refuses such a
// line, and reads all others. One with more fields is of a later version, which
// this one must not rewrite without them.
const fileVersion = "redlock fence 1"

// CheckToken implements [Store]. While another check holds the lock on the file,
// it waits until ctx ends or Timeout has passed; the error then matches
// [context.DeadlineExceeded].
func (f File) CheckToken(ctx context.Context, key string, token int64) error {
	return f.check(ctx, key, token, seen.write)
}

// CheckReadToken implements [ReadStore]. It waits as CheckToken does.
func (f File) CheckReadToken(ctx context.Context, key string, token int64) error {
	return f.check(ctx, key, token, seen.read)
}

func (f File) check(ctx context.Context, key string, token int64, judge judgement) error {
	if err := valid(key, token); err != nil {
		return err
	}
	return f.change(ctx, key, func(all map[string]seen) (bool, error) {
		before := all[key]
		after, err := judge(before, key, token)
		all[key] = after
		return after != before, err
	})
}

// Forget removes what is known of key. Read "Forgetting" in the package comment
// first.
func (f File) Forget(ctx context.Context, key string) error {
	return f.change(ctx, key, func(all map[string]seen) (bool, error) {
		_, known := all[key]
		delete(all, key)
		return known, nil
	})
}

// change runs fn on the tokens under the lock, and replaces the file if fn
// returns true. If fn has nothing to change, the process that wrote what fn saw
// may have been killed between its rename and its sync, so change syncs too.
func (f File) change(ctx context.Context, key string, fn func(all map[string]seen) (bool, error)) error {
	path, err := f.path()
	if err == nil {
		err = f.locked(ctx, path+".lock", func() error {
			all, err := readTokens(path)
			if err != nil {
				return err
			}
			changed, err := fn(all)
			switch {
			case err != nil:
				return err
			case changed:
				return replaceTokens(path, all)
			}
			return syncRename(path)
		})
	}
	if err != nil && !errors.Is(err, ErrStale) {
		return errs.Errorf("redlock: fence: %q: %w", key, err)
	}
	return err
}

// maxLinks is the largest number of symbolic links that lead to a file, one
// after the other, as Linux has it.
const maxLinks = 40

// path checks the fields and resolves symbolic links: all names of a file need
// the same lock, also while the last link leads to a file that does not exist.
func (f File) path() (string, error) {
	switch {
	case f.Path == "":
		return "", errors.New("File.Path is empty; give the path of the token file")
	case f.Timeout < 0:
		return "", fmt.Errorf("File.Timeout is %v; it must not be negative", f.Timeout)
	}
	next := f.Path
	for range maxLinks {
		path, err := filepath.EvalSymlinks(next)
		if !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
		dir, name := filepath.Split(next) // which, unlike Dir, keeps "link/.."
		if dir, err = filepath.EvalSymlinks(cmp.Or(dir, ".")); err != nil {
			return "", err
		}
		path = filepath.Join(dir, name)
		if next, err = os.Readlink(path); err != nil {
			return path, nil // no link: the file is created here
		}
		if !filepath.IsAbs(next) {
			next = dir + string(filepath.Separator) + next
		}
	}
	return "", fmt.Errorf("%s leads through more than %d symbolic links", f.Path, maxLinks)
}

// longestPause is the longest time between two attempts to lock a file that
// another process holds locked, usually for milliseconds.
const longestPause = 50 * time.Millisecond

// locked runs fn under the lock on a file.
func (f File) locked(ctx context.Context, path string, fn func() error) error {
	if err := errs.Ended(ctx); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer file.Close() // which unlocks it
	if err := f.await(ctx, file); err != nil {
		return err
	}
	return fn()
}

// await returns when it has locked a file, ctx has ended, or Timeout has passed.
func (f File) await(ctx context.Context, file *os.File) error {
	timeout := cmp.Or(f.Timeout, defaultTimeout)
	late := time.NewTimer(timeout)
	defer late.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		ok, err := tryLock(file)
		switch {
		case err != nil:
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		case ok:
			return nil
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-late.C:
			wait.Stop()
			return fmt.Errorf("other checks held the lock on %s for longer than File.Timeout, %v: %w",
				file.Name(), timeout, context.DeadlineExceeded)
		case <-ctx.Done():
			wait.Stop()
			return errs.Errorf("another check holds the lock on %s: %w", file.Name(), errs.Ended(ctx))
		}
	}
}

// readTokens reads a token file. A missing file has no tokens.
func readTokens(path string) (map[string]seen, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]seen{}, nil
	}
	if err != nil {
		return nil, err
	}
	text, whole := strings.CutSuffix(string(content), "\n")
	lines := strings.Split(text, "\n")
	if !whole || lines[0] != fileVersion {
		return nil, fmt.Errorf("%s is not a complete token file, which begins with the line %q and ends with a line feed; "+
			"restore it, or remove it if no late writer can exist", path, fileVersion)
	}
	all := make(map[string]seen, len(lines))
	for i, line := range lines[1:] {
		key, has, err := parseSeen(line)
		if _, twice := all[key]; err == nil && twice {
			err = errors.New("a line above has the same key")
		}
		if err != nil {
			return nil, errs.Errorf("%s, line %d: %w", path, i+2, err)
		}
		all[key] = has
	}
	return all, nil
}

// parseSeen parses a line. The writer's token is 0 if only readers were seen.
func parseSeen(line string) (key string, s seen, err error) {
	writer := line
	if fields := strings.Split(line, ";"); len(fields) == 3 {
		reader, err := parseToken(fields[0] + ";" + fields[2])
		if err != nil || fields[1] == "0" {
			return reader.Key, seen{0, reader.Number}, err
		}
		writer, s.reader = fields[0]+";"+fields[1], reader.Number
	}
	t, err := parseToken(writer)
	s.writer = t.Number
	return t.Key, s, err
}

// line is what parseSeen parses.
func (s seen) line(key string) string {
	text := Token{Key: key, Number: s.writer}.String()
	if s.reader > 0 {
		text += ";" + strconv.FormatInt(s.reader, 10)
	}
	return text
}

// replaceTokens replaces a token file and keeps its permissions.
func replaceTokens(path string, all map[string]seen) error {
	var b strings.Builder
	b.WriteString(fileVersion + "\n")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(all[key].line(key) + "\n")
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that was killed
		return err
	}
	if err := writeSynced(fresh, b.String(), path); err != nil {
		_ = os.Remove(fresh) // the next check does, where this cannot
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncRename(path)
}

// syncRename has the rename of a file outlast a power failure. Tests replace it.
var syncRename = func(path string) error { return syncDir(filepath.Dir(path)) }

// writeSynced creates a file, with the permissions of another if that exists.
func writeSynced(path, text, like string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if old, err := os.Stat(like); err == nil {
		if err := file.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}
