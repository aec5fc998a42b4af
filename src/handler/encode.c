/* SPDX-License-Identifier: MIT */
/*
 * A request becomes a block. The dispatcher calls this, mostly with a block
 * that lies in a link's arena, so that each byte of the head is copied once,
 * from the connection's buffer to where the handler reads it. Behind the
 * struct stand the table of headers, the table of parameters, the texts, each
 * with a NUL so that handlers get C strings without a copy, and the body,
 * aligned so that binary bodies can be read in place.
 *
 * encode_size and encode_request walk the same way; that they agree is
 * checked, since a block that overruns its room would be a fault of crew.
 */
#include "handler/encode.h"

#include "base/check.h"

struct pen {
	char *block;
	size_t at;
};

static size_t texts_size(const struct encode_input *input);
static struct wire_text write_text(struct pen *pen, struct span text);
static void write_headers(struct pen *pen, size_t place,
			  const struct encode_input *input);
static void write_params(struct pen *pen, size_t place,
			 const struct encode_input *input);
static void write_values(struct pen *pen, size_t place,
			 const struct encode_input *input);
static struct wire_text write_body(struct pen *pen, struct span body);

static size_t align(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static size_t params_place(const struct encode_input *input)
{
	return sizeof(struct wire_request) +
	       input->head->header_count * sizeof(struct wire_header);
}

static size_t values_place(const struct encode_input *input)
{
	return params_place(input) +
	       input->param_count * sizeof(struct wire_param);
}

static size_t texts_place(const struct encode_input *input)
{
	return values_place(input) +
	       input->value_count * sizeof(struct wire_header);
}

uint32_t encode_size(const struct encode_input *input)
{
	size_t size = texts_place(input) + texts_size(input);

	if (input->body.size)
		size = align(size) + input->body.size;
	check(size <= UINT32_MAX);
	return (uint32_t)size;
}

void encode_request(void *block, uint32_t size, const struct encode_input *input)
{
	const struct http_head *head = input->head;
	struct pen pen = { block, texts_place(input) };
	struct wire_request *wire = block;

	check(input->param_count <= WIRE_PARAMS_MAX);
	*wire = (struct wire_request){
		.id = input->id,
		.body_size = input->body_size,
		.size = size,
		.route = input->route,
		.headers = (uint32_t)sizeof(*wire),
		.params = (uint32_t)params_place(input),
		.header_count = (uint16_t)head->header_count,
		.param_count = (uint16_t)input->param_count,
		.value_count = (uint16_t)input->value_count,
		.values = (uint32_t)values_place(input),
		.depth = (uint16_t)input->depth,
		.method_number = (uint16_t)head->method,
		.minor = (uint16_t)head->minor,
	};
	wire->method = write_text(&pen, head->method_text);
	wire->path = write_text(&pen, input->path);
	wire->query = write_text(&pen, head->query);
	wire->client = write_text(&pen, input->client);
	write_headers(&pen, wire->headers, input);
	write_params(&pen, wire->params, input);
	write_values(&pen, wire->values, input);
	wire->body = write_body(&pen, input->body);
	check(pen.at == size);
}

static size_t texts_size(const struct encode_input *input)
{
	const struct http_head *head = input->head;
	size_t size = head->method_text.size + 1 + input->path.size + 1 +
		      head->query.size + 1 + input->client.size + 1;

	for (uint32_t i = 0; i < head->header_count; i++)
		size += head->headers[i].name.size + 1 +
			head->headers[i].value.size + 1;
	for (unsigned i = 0; i < input->param_count; i++)
		size += input->params[i].name.size + 1 +
			input->params[i].text.size + 1;
	for (unsigned i = 0; i < input->value_count; i++)
		size += input->values[i].name.size + 1 +
			input->values[i].value.size + 1;
	return size;
}

static struct wire_text write_text(struct pen *pen, struct span text)
{
	const struct wire_text place = { (uint32_t)pen->at, (uint32_t)text.size };

	if (text.size)
		memcpy(pen->block + pen->at, text.at, text.size);
	pen->block[pen->at + text.size] = '\0';
	pen->at += text.size + 1;
	return place;
}

static void write_headers(struct pen *pen, size_t place,
			  const struct encode_input *input)
{
	struct wire_header *headers = (void *)(pen->block + place);

	for (uint32_t i = 0; i < input->head->header_count; i++) {
		const struct http_header *header = &input->head->headers[i];

		headers[i].name = write_text(pen, header->name);
		headers[i].value = write_text(pen, header->value);
	}
}

static void write_params(struct pen *pen, size_t place,
			 const struct encode_input *input)
{
	struct wire_param *params = (void *)(pen->block + place);

	for (unsigned i = 0; i < input->param_count; i++) {
		const struct route_param *param = &input->params[i];

		params[i] = (struct wire_param){ .type = (uint32_t)param->type };
		params[i].name = write_text(pen, param->name);
		params[i].text = write_text(pen, param->text);
		if (param->type == WIRE_PARAM_INT)
			params[i].integer = param->integer;
		else if (param->type == WIRE_PARAM_FLOAT)
			params[i].real = param->real;
	}
}

static void write_values(struct pen *pen, size_t place,
			 const struct encode_input *input)
{
	struct wire_header *values = (void *)(pen->block + place);

	for (unsigned i = 0; i < input->value_count; i++) {
		values[i].name = write_text(pen, input->values[i].name);
		values[i].value = write_text(pen, input->values[i].value);
	}
}

static struct wire_text write_body(struct pen *pen, struct span body)
{
	const size_t place = align(pen->at);

	if (body.size == 0)
		return (struct wire_text){ (uint32_t)pen->at, 0 };
	memset(pen->block + pen->at, 0, place - pen->at);
	memcpy(pen->block + place, body.at, body.size);
	pen->at = place + body.size;
	return (struct wire_text){ (uint32_t)place, (uint32_t)body.size };
}
