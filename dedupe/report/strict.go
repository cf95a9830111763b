package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decode reads a JSON object that was written by hand. Keys must be spelled exactly and occur
// once, and no value may be null: a typing error must not select a default. Its error says
// in plain words what is wrong.
func Decode(data []byte, into any) error {
	err := checkValues(data)
	if err == nil {
		err = json.Unmarshal(data, into, json.RejectUnknownMembers(true), json.WithUnmarshalers(wholeNumbers()))
	}
	if err != nil {
		return explain(err)
	}
	return nil
}

// checkValues checks that data is one JSON object without null in it.
func checkValues(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if kind := d.PeekKind(); kind > 0 && kind != '{' {
		return fmt.Errorf("it is %s", kindName(kind))
	}
	for {
		token, err := d.ReadToken()
		switch {
		case err != nil:
			return err
		case token.Kind() == 'n':
			return fmt.Errorf("%s is null: leave it out to get the default", d.StackPointer())
		case d.StackDepth() == 0:
			if _, err := d.ReadToken(); err != io.EOF {
				return errors.New("there is more data after the object")
			}
			return nil
		}
	}
}

// wholeNumbers reads 64.0 and 6.4e1 as 64, which they are in JSON Schema.
func wholeNumbers() *json.Unmarshalers {
	return json.JoinUnmarshalers(json.UnmarshalFromFunc(readWhole[int]), json.UnmarshalFromFunc(readWhole[int64]))
}

func readWhole[N int | int64](d *jsontext.Decoder, n *N) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	if value.Kind() != '0' {
		return &wholeError{value.Kind()}
	}
	text, exponent := string(value), ""
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		exponent = text[e+1:]
	}
	if len(exponent) > 4 { // it would take long to calculate
		return &wholeError{'0'}
	}
	exact, _ := new(big.Rat).SetString(text)
	if exact == nil || !exact.IsInt() || !exact.Num().IsInt64() {
		return &wholeError{'0'}
	}
	*n = N(exact.Num().Int64())
	return nil
}

// wholeError is the error of a value of some kind that is not a whole number.
type wholeError struct{ kind jsontext.Kind }

func (e *wholeError) Error() string {
	return fmt.Sprintf("cannot unmarshal %s as a whole number in 64 bits", kindName(e.kind))
}

// explain says what is wrong, in the terms of JSON.
func explain(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		at := semantic.JSONPointer
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return fmt.Errorf("unknown field %s", at)
		case errors.As(err, new(*wholeError)):
			return fmt.Errorf("%s: %v", at, semantic.Err)
		case semantic.GoType != nil:
			return fmt.Errorf("%s: cannot unmarshal %s as %s", at, kindName(semantic.JSONKind), typeName(semantic.GoType))
		}
		return fmt.Errorf("%s: %v", at, semantic.Err)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "jsontext: "))
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	case '{':
		return "an object"
	}
	return "this value"
}

func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Float64:
		return "a number in 64 bits"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "base64"
		}
		return "an array"
	}
	return "an object"
}
