/* SPDX-License-Identifier: BSD-3-Clause */
/* The public functions of viommu/request.h, for a model that takes requests. */
#include <errno.h>

#include <viommu/request.h>

#include "core/unit.h"

static const struct vi_request_ops *ops_of(const struct viommu *v)
{
	return v->model ? v->model->requests : NULL;
}

uint64_t viommu_features_offered(const struct viommu *v)
{
	const struct vi_request_ops *ops = ops_of(v);

	return ops ? ops->features : 0;
}

int viommu_features_accept(struct viommu *v, uint64_t features)
{
	const struct vi_request_ops *ops = ops_of(v);

	if (!ops)
		return -ENOTSUP;
	if (features & ~ops->features)
		return -EINVAL;
	vi_lock_take(&v->lock);
	ops->accept(v->model_state, features);
	vi_lock_give(&v->lock);
	return 0;
}

int viommu_config_read(struct viommu *v, size_t offset, void *buf, size_t length)
{
	const struct vi_request_ops *ops = ops_of(v);
	uint8_t *bytes = buf;

	if (!ops)
		return -ENOTSUP;
	vi_lock_take(&v->lock);
	for (size_t i = 0; i < length; i++)
		bytes[i] = ops->config_read(v->model_state, offset + i);
	vi_lock_give(&v->lock);
	return 0;
}

int viommu_config_write(struct viommu *v, size_t offset, const void *buf, size_t length)
{
	const struct vi_request_ops *ops = ops_of(v);
	const uint8_t *bytes = buf;

	if (!ops)
		return -ENOTSUP;
	vi_lock_take(&v->lock);
	for (size_t i = 0; i < length; i++)
		ops->config_write(v->model_state, offset + i, bytes[i]);
	vi_lock_give(&v->lock);
	return 0;
}

int viommu_request_submit(struct viommu *v, uint64_t token, const void *request, size_t length, size_t room)
{
	const struct vi_request_ops *ops = ops_of(v);
	int ret;

	if (!ops)
		return -ENOTSUP;
	if (!vi_lock_try(&v->lock))
		return -EBUSY;
	ret = ops->submit(v->model_state, token, request, length, room);
	vi_lock_give(&v->lock);
	return ret;
}

int64_t viommu_request_answer(struct viommu *v, uint64_t *ret_token, void *buf, size_t size)
{
	const struct vi_request_ops *ops = ops_of(v);
	int64_t ret;

	if (!ops)
		return -ENOTSUP;
	if (!vi_lock_try(&v->lock))
		return -EBUSY;
	ret = ops->answer(v->model_state, ret_token, buf, size);
	vi_lock_give(&v->lock);
	return ret;
}

int64_t viommu_event_take(struct viommu *v, void *buf, size_t size)
{
	const struct vi_request_ops *ops = ops_of(v);
	int64_t ret;

	if (!ops)
		return -ENOTSUP;
	if (!vi_lock_try(&v->lock))
		return -EBUSY;
	ret = ops->event(v->model_state, buf, size);
	vi_lock_give(&v->lock);
	return ret;
}

int viommu_driver_reset(struct viommu *v, bool keep)
{
	const struct vi_request_ops *ops = ops_of(v);
	int ret;

	if (!ops)
		return -ENOTSUP;
	if (!vi_lock_try(&v->lock))
		return VIOMMU_PROCESS_PENDING;
	ret = ops->restart(v->model_state, keep) ? VIOMMU_PROCESS_PENDING : 0;
	vi_lock_give(&v->lock);
	return ret;
}
