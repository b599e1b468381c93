package sim

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// engine runs the scripts of all nodes, one at a time: it has no state of its own between two runs.
var engine struct {
	mu    sync.Mutex
	state *lua.LState
	on    *store
	ready map[string]*lua.FunctionProto
}

func hashOf(src string) string {
	sum := sha1.Sum([]byte(src))
	return hex.EncodeToString(sum[:])
}

// runScript runs src with words: the number of keys, keys, arguments.
func runScript(s *store, src string, words []string) any {
	engine.mu.Lock()
	defer engine.mu.Unlock()
	if engine.state == nil {
		startEngine()
	}
	proto, err := compile(src)
	if err != nil {
		return failure("ERR " + err.Error())
	}
	n, err := strconv.Atoi(words[0])
	if err != nil || n > len(words)-1 {
		return failure("ERR wrong number of keys")
	}
	l := engine.state
	l.SetGlobal("KEYS", table(l, words[1:1+n]))
	l.SetGlobal("ARGV", table(l, words[1+n:]))
	engine.on = s
	l.SetTop(0)
	l.Push(l.NewFunctionFromProto(proto))
	if err := l.PCall(0, 1, nil); err != nil {
		l.SetTop(0)
		return failure("ERR " + strings.ReplaceAll(strings.SplitN(err.Error(), "\n", 2)[0], "\r", " "))
	}
	v := l.Get(-1)
	l.SetTop(0)
	return toReply(v)
}

func startEngine() {
	l := lua.NewState()
	redis := l.NewTable()
	redis.RawSetString("call", l.NewFunction(call))
	redis.RawSetString("error_reply", l.NewFunction(func(l *lua.LState) int {
		t := l.NewTable()
		t.RawSetString("err", lua.LString(l.CheckString(1)))
		l.Push(t)
		return 1
	}))
	l.SetGlobal("redis", redis)
	engine.state, engine.ready = l, map[string]*lua.FunctionProto{}
}

func compile(src string) (*lua.FunctionProto, error) {
	if p := engine.ready[src]; p != nil {
		return p, nil
	}
	chunk, err := parse.Parse(strings.NewReader(src), "script")
	if err != nil {
		return nil, err
	}
	p, err := lua.Compile(chunk, "script")
	if err == nil {
		engine.ready[src] = p
	}
	return p, err
}

// call is redis.call.
func call(l *lua.LState) int {
	args := make([]string, l.GetTop())
	for i := range args {
		switch v := l.Get(i + 1).(type) {
		case lua.LString:
			args[i] = string(v)
		case lua.LNumber:
			args[i] = strconv.FormatFloat(float64(v), 'g', 17, 64)
			if v == lua.LNumber(int64(v)) {
				args[i] = strconv.FormatInt(int64(v), 10)
			}
		default:
			l.RaiseError("redis.call takes strings and numbers")
		}
	}
	reply := engine.on.do(args)
	if err, failed := reply.(failure); failed {
		l.RaiseError("%s", string(err))
	}
	l.Push(toLua(l, reply))
	return 1
}

func table(l *lua.LState, words []string) *lua.LTable {
	t := l.CreateTable(len(words), 0)
	for _, w := range words {
		t.Append(lua.LString(w))
	}
	return t
}

func toLua(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case int64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case status:
		t := l.NewTable()
		t.RawSetString("ok", lua.LString(v))
		return t
	case []any:
		t := l.CreateTable(len(v), 0)
		for _, x := range v {
			t.Append(toLua(l, x))
		}
		return t
	}
	return lua.LFalse
}

func toReply(v lua.LValue) any {
	switch v := v.(type) {
	case lua.LNumber:
		return int64(v)
	case lua.LString:
		return string(v)
	case lua.LBool:
		if v {
			return int64(1)
		}
	case *lua.LTable:
		if err, is := v.RawGetString("err").(lua.LString); is {
			return failure(err)
		}
		out := []any{}
		for i := 1; ; i++ {
			x := v.RawGetInt(i)
			if x == lua.LNil {
				return out
			}
			out = append(out, toReply(x))
		}
	}
	return nil
}
